"""Public price catalogues: their entries, and the candidate rate cards that are made of them.

A candidate is a rate card that nobody has published. What a card cannot say is kept as a finding for a person to read.
Source: spec/formats.md, section 2; spec/rating.md, sections 2, 4.8, 5, 6.
"""
