"""Where alerts go. Each file is one kind of channel behind `ports.Notifier`; `channels.py` makes them."""
