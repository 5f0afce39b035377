"""What a shift does to a model and what adaptation buys: side-by-side runs, their pictures, the sensor audit."""
