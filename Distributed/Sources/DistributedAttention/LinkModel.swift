import Attention

/// A link between ranks: what a message of so many bytes takes.
public struct LinkModel: Sendable, Hashable {
  /// Bytes a second that a rank sends or receives.
  public let bytesPerSecond: Double
  /// Seconds before the first byte arrives.
  public let latency: Double

  /// - Throws: `AttentionError` of kind `invalidArgument` unless the rate is above 0 and the latency is not
  ///   below it.
  public init(bytesPerSecond: Double, latency: Double) throws(AttentionError) {
    guard bytesPerSecond > 0, bytesPerSecond.isFinite else {
      throw AttentionError(
        .invalidArgument, argument: "link", value: bytesPerSecond,
        advice: "must be a rate above 0 bytes a second")
    }
    guard latency >= 0, latency.isFinite else {
      throw AttentionError(
        .invalidArgument, argument: "latency", value: latency,
        advice: "must be 0 or more seconds")
    }
    self.bytesPerSecond = bytesPerSecond
    self.latency = latency
  }

  /// Seconds for messages that follow each other.
  public func seconds(bytes: Double, messages: Double = 1) -> Double {
    bytes / bytesPerSecond + latency * messages
  }
}
