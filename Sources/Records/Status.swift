import Attention
import Statistics
import Units

/// How a cell of the sweep ended.
public enum Status: String, CaseIterable, Codable, Sendable {
  /// Measured, with the interval as narrow as asked.
  case ok
  /// Measured, but with fewer samples than asked because the cell's time was spent.
  case lowSamples = "low_samples"
  /// Measured, but the interval stayed wider than asked, or the threads had to wait for their cores.
  case noisy
  /// Not run: the predicted time is beyond a limit.
  case skippedTime = "skipped_time"
  /// Not run: the needed memory is beyond the limit.
  case skippedMemory = "skipped_memory"
  /// Started, and stopped when its time was over before one sample was complete.
  case timeout
  /// Failed; the reason says how.
  case error
  /// Run, and its output is not what the strategy's definition gives: its times mean nothing.
  case wrong
  /// The run was interrupted before this cell was finished.
  case interrupted

  /// Whether the row has times that may be drawn and compared.
  public var isMeasured: Bool {
    switch self {
    case .ok, .lowSamples, .noisy: true
    case .skippedTime, .skippedMemory, .timeout, .error, .wrong, .interrupted: false
    }
  }
}
