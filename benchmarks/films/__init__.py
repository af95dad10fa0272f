"""Films for benchmarks that anyone can make, from free material of public packages.

packages      downloads of pip and apt-get, and files out of them, verified by SHA-256
material      photographs, clips and ships: where they are from, whose, under which licence
camera_moves  a moving window on a picture, a ship that passes, a light
shot_plan     scenes and shots
shot_frames   the frames of a shot
encoding      a film file, and checksums of its frames
varied        the command
"""
