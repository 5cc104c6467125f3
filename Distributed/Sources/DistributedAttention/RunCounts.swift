/// What one run on one rank did besides computing.
public struct RunCounts: Sendable, Hashable {
  /// Bytes that the rank sent.
  public var bytesSent = 0
  /// Seconds in which it waited for messages and computed nothing.
  public var waitSeconds = 0.0
  /// Blocks that it worked on as they came, and how many of them were there when their turn came.
  public var blocks = 0
  public var blocksReady = 0

  /// Nothing yet.
  public init(bytesSent: Int = 0, waitSeconds: Double = 0, blocks: Int = 0, blocksReady: Int = 0) {
    self.bytesSent = bytesSent
    self.waitSeconds = waitSeconds
    self.blocks = blocks
    self.blocksReady = blocksReady
  }
}
