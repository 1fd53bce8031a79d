"""Whole numbers and codes in columns; what is compiled."""
