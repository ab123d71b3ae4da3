"""Fake hardware that tells the truth about itself: what was really used, to compare with."""
