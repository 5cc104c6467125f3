import Foundation
import Measuring
import Records
import Statistics
import Units

/// What a user asks of an attention.
public struct Requirements: Codable, Equatable, Sendable {
  /// The largest relative L2 distance from full softmax attention.
  public var maximumError: Double?
  /// The most memory for tensors and workspace together, in bytes.
  public var maximumMemoryBytes: Int?
  /// The longest time of one run, in seconds.
  public var maximumSeconds: Double?
  /// Whether each head has to keep to the error, not only all of them together.
  public var holdsForEachHead: Bool

  /// Requirements; nil asks nothing.
  public init(
    maximumError: Double? = nil, maximumMemoryBytes: Int? = nil, maximumSeconds: Double? = nil,
    holdsForEachHead: Bool = false
  ) {
    self.maximumError = maximumError
    self.maximumMemoryBytes = maximumMemoryBytes
    self.maximumSeconds = maximumSeconds
    self.holdsForEachHead = holdsForEachHead
  }

  private enum CodingKeys: String, CodingKey {
    case maximumError = "max_rel_l2_error"
    case maximumMemoryBytes = "max_memory_bytes"
    case maximumSeconds = "max_time_s"
    case holdsForEachHead = "each_head"
  }

  /// A requirement that a candidate does not meet.
  public struct Miss: Codable, Equatable, Sendable, CustomStringConvertible {
    /// `error`, `memory` or `time`.
    public let requirement: String
    /// The candidate's figure: a relative error, bytes or seconds.
    public let value: Double
    /// The most that was asked for, in the same unit.
    public let limit: Double

    /// By what factor the limit is missed; above 1.
    public var factor: Double { limit > 0 ? value / limit : .infinity }

    /// `error 3.2e-02 > 1.0e-02`.
    public var description: String {
      func text(_ figure: Double) -> String {
        switch requirement {
        case "memory": ByteCount(Int(figure)).rounded
        case "time": TimeSpan.rounded(seconds: figure)
        default:
          figure == .greatestFiniteMagnitude ? "unknown" : String(format: "%.1e", figure)
        }
      }
      return "\(requirement) \(text(value)) > \(text(limit))"
    }
  }

  /// The error that is held against the limit.
  public func error(of candidate: Candidate) -> Double? {
    guard holdsForEachHead, let heads = candidate.headErrorsUpper else {
      return candidate.relativeErrorUpper
    }
    return heads.max()
  }

  /// What a measured candidate does not meet. A figure that is not known counts as met, an error as
  /// missed by any factor. An error that was estimated counts with its upper limit.
  public func misses(of candidate: Candidate) -> [Miss] {
    let checks: [(String, Double?, Double?)] = [
      ("error", error(of: candidate) ?? .greatestFiniteMagnitude, maximumError),
      ("memory", candidate.memoryBytes.map(Double.init), maximumMemoryBytes.map(Double.init)),
      ("time", candidate.seconds, maximumSeconds),
    ]
    return checks.compactMap { name, value, limit in
      guard let value, let limit, value > limit else { return nil }
      return Miss(requirement: name, value: value, limit: limit)
    }
  }
}
