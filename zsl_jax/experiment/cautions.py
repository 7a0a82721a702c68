"""What a reader of a result should know before believing its scores: one line each."""

from collections.abc import Iterator, Mapping
from typing import Any

FEW_CLASSES = 10  # classes on which a choice or a mean rests
FEW_ROWS = 100  # rows on which a choice rests


def of(result: Mapping[str, Any], upstream: str) -> Iterator[str]:
    """The warnings of a result.

    Args:
      result: as `outcome.conclude` makes it: headline, validation, baselines, nearest.
      upstream: which state of a stage the next one got.
    """
    if upstream == "oracle" and result["stages"]:
        yield "upstream=oracle: states of earlier stages were chosen on the test set, so no score is free of it"
    chance = result["baselines"]["chance"]
    yield from below_chance("headline", result["headline"], chance, ("T1", "H", "AUSUC"))
    yield from of_validation(result["validation"])
    for name, scores in (result["baselines"] | result["nearest"]).items():
        if name != "chance":
            yield from below_chance(name, scores, chance, ("T1",))
        if scores.get("chosen", {}).get("at_edge"):
            yield f"{name}: its best regulariser is the last one tried, so another may be better"


def below_chance(
    what: str, scores: Mapping[str, Any], chance: Mapping[str, float], names: tuple[str, ...]
) -> Iterator[str]:
    """A line for scores that guessing would reach."""
    bad = [name for name in names if scores[name] <= chance[name]]
    if bad:
        listed = ", ".join(f"{name} {scores[name]:.1f} (chance {chance[name]:.1f})" for name in bad)
        yield f"{what} at or below chance: {listed}"


def of_validation(validation: Mapping[str, Any]) -> Iterator[str]:
    """What is weak about the task on which all choices were made."""
    if not validation:
        yield "no validation task: nothing was chosen, and regularisers of closed forms were chosen on the test set"
        return
    draws = validation["draws"]
    n_classes, n_rows = (len(draws[0]["unseen"]), min(draw["rows"][2] for draw in draws))
    if n_classes < FEW_CLASSES or n_rows < FEW_ROWS:
        times = f"{len(draws)} draws of " if len(draws) > 1 else ""
        yield f"choices rest on few data: {times}{n_classes} validation classes with {n_rows} rows"
    *_, choices = validation["stages"].values()
    chosen = choices[validation["space"]]
    if chosen["T1"]["T1"] <= 100 / n_classes:
        yield f"validation T1 {chosen['T1']['T1']:.1f} at or below chance ({100 / n_classes:.1f}): choices mean little"
