"""Commands that work on films and records; a wheel installs them as `bladerunner_ae_tools`."""
