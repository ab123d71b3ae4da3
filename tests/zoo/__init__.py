"""Hostile children, the sessions that own them, and the faults that end those sessions."""
