//! `nvidia-smi topo -m`.
