"""The film's memory: what a network keeps of each shot, as one page that needs nothing else."""
