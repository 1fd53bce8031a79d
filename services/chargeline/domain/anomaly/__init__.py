"""Anomaly detection over one series of costs (or any other number): pure, online, of bounded memory."""
