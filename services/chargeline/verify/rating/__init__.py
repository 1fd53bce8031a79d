"""The slow, exact reference of rating: one record at a time, exact fractions, no rule shared with the pricer."""
