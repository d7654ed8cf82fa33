"""Rules about the machine beside the training (`MA`): cores, disks, other users."""
