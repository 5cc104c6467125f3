import Measuring
import Records
import Statistics
import Units

/// What a choice tells while it runs. It prints nothing itself.
public enum ChoiceEvent: Sendable {
  /// What measuring its candidates tells.
  case measuring(SweepEvent)
  /// A candidate has had a look: a few runs, and its error.
  case candidateSeen(Candidate)
  /// What is known before the looks and runs that take long; exact candidates that have not run stand
  /// there with their predicted times.
  case firstTable(Recommendation)
}
