"""The minimal OS layer: our own init (PID 1) in C, what builds it and what it reads."""

from imagebuilder.platforms.linux.build import INIT, init_key, provide_init
from imagebuilder.platforms.linux.config import InitConfig, Limit, init_conf

__all__ = ["INIT", "InitConfig", "Limit", "init_conf", "init_key", "provide_init"]
