import MessagePassing

/// When messages left, which go with them over a simulated link: a number each, by the clock that all
/// processes of a machine have in common.
final class DepartureTimes {
  private let times: UnsafeMutableBufferPointer<Double>

  init(count: Int) {
    times = .allocate(capacity: max(count, 1))
    times.initialize(repeating: 0)
  }

  deinit { times.deallocate() }

  subscript(index: Int) -> Double { times[index] }

  /// Notes that a message leaves now.
  ///
  /// - Returns: what goes with it.
  func leaves(_ index: Int) -> UnsafeRawBufferPointer {
    times[index] = monotonicSeconds()
    return UnsafeRawBufferPointer(bytes(index))
  }

  /// Where a time is kept that another rank noted.
  func bytes(_ index: Int) -> UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(
      UnsafeMutableBufferPointer(rebasing: times[index..<index + 1]))
  }
}

/// One direction of a link that is not there: says when it would have brought messages, one behind the other.
package struct LinkQueue {
  private let model: LinkModel
  private var isFree = 0.0

  package init(_ model: LinkModel) { self.model = model }

  /// When a message is there that left at some time, behind all that were asked for before.
  package mutating func arrival(of byteCount: Int, leaving departure: Double) -> Double {
    isFree = max(departure, isFree) + Double(byteCount) / model.bytesPerSecond
    return isFree + model.latency
  }
}
