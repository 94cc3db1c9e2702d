"""polydistill: distil many pretrained embedding models into one small student."""

__version__ = "0.1.0"
