"""mpcd: records stay home, secret shares cross the network, agreed statistics come out."""

__version__ = "0.1.0"
