"""Lets tools that still look for setup.py find the package; setup.cfg says everything."""

from setuptools import setup

setup()
