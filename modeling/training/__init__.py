"""Fine-tuning: the data-set doctor, the recipe, and the one trainer."""
