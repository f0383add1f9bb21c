"""Write an evidence pack: what stands in it, in which form, and under which seal. Nothing here changes the estate."""
