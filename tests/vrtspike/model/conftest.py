import sys
from pathlib import Path

# The readers of reference values stand beside the tests that use them.
sys.path.insert(0, str(Path(__file__).parent))
