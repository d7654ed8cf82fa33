"""Rules about kernels, stages and precision (`KN`)."""
