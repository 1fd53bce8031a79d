"""Closes."""
class LogCloser:
    def __init__(self, pricer):
        self.pricer = pricer
    def objects(self):
        return []
