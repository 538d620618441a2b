"""What scores an event: bundles, features, the booster and the decision."""
