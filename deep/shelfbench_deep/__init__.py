"""Deep backends: pretrained backbones, their bottlenecks, and the networks on top of them (Keras 3)."""
