"""Figures, pictures and pages of a run while it trains."""
