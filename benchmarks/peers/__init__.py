"""The same problems, solved by mepmeta, Spirit and ASE, and judged by one measure."""
