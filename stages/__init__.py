"""The scripts of DVC's stages, one a stage, named as in dvc.yaml."""

from parity.core.user_code import supervise

supervise()
