"""From bytes to features: catalogues, splits, images and the feature store."""
