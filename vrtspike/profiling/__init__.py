"""The recorder: writes facts about a run, interprets nothing."""
