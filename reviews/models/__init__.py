from reviews.models.controls import MeasureDay

__all__ = ["MeasureDay"]
