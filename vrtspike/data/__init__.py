"""Video and spike data: formats, simulation, data sets, loading."""
