"""The model server: chat through llama.cpp with LoRA adapters, embeddings through torch."""
