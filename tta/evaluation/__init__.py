"""What a shift does to a model and what adaptation buys: runs side by side, pictures, the sensor audit."""
