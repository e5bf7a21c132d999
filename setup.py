"""What pyproject.toml cannot say: every package is found, and the card folders travel inside it, as ``_cards``."""

from setuptools import find_packages, setup

CARDS = {
    "sapiens_bench._cards.baselines": "baselines",
    "sapiens_bench._cards.datasets": "datasets",
    "sapiens_bench._cards.datasets.spaces": "datasets/spaces",
    "sapiens_bench._cards.datasets.spaces.maps": "datasets/spaces/maps",
    "sapiens_bench._cards.published": "results/published",
}

setup(
    packages=[*find_packages(include=["sapiens_bench", "sapiens_bench.*"]), *CARDS],
    package_dir=CARDS,
    package_data={
        **{name: ["*.yaml"] for name in (*CARDS, "sapiens_bench.profiling", "sapiens_bench.testing.toy_cards")},
        "sapiens_bench": ["py.typed"],
        "sapiens_bench.report": ["templates/*"],
        "sapiens_bench.embedded": ["*.npz", "*.safetensors", "*.json", "*.jsonl", "*.csv", "NOTICE*"],
    },
)
