"""Checks whether everything is there that the token keeper needs, one module a subject."""
