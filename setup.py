"""The packages of the wheel; setup.cfg says everything else."""

from setuptools import find_packages, setup

# A wheel's top level is one name space for everybody, so the folder tools/ is installed under a
# name of its own. The .py files in it stay runnable as `python tools/NAME.py`.
setup(
    packages=[*find_packages(include=["bladerunner_ae*", "tfrecords*"]), "bladerunner_ae_tools"],
    package_dir={"bladerunner_ae_tools": "tools"},
)
