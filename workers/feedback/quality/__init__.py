"""How good scores were: measures with intervals, drift, comparisons."""
