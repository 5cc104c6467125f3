import Attention

/// What a cell has to move that waits for data rather than for arithmetic.
public struct WorkingSet: Hashable, Sendable {
  /// All bytes, those of a state twice.
  public var bytes: Int
  /// Those of a state, which are read and written in place; most of them where there is one.
  public var stateBytes: Int

  /// A working set as given.
  public init(bytes: Int, stateBytes: Int = 0) {
    self.bytes = bytes
    self.stateBytes = stateBytes
  }

  init(_ work: WorkEstimate) {
    self.init(bytes: work.minimumBytes, stateBytes: work.stateBytes)
  }

  /// What of it lies in memory or a cache.
  var residentBytes: Int { bytes - stateBytes }
}
