"""The close of a billing period: fees, settlements, minimums, commitments, credits, lines (spec/rating.md 3)."""
