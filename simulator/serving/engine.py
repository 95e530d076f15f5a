from simulator.serving.reference import run as run
