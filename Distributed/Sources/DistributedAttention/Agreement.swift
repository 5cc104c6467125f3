import Attention
import AttentionBench
import MessagePassing

/// A failure that all ranks know of.
public struct AgreedFailure: Error, CustomStringConvertible {
  public let description: String
  /// Whether this rank is the one to print it: the lowest that it happened to.
  public let isMineToPrint: Bool
  /// Of the process.
  public let exitCode: Int32

  /// A failure that all ranks have found out.
  public init(_ description: String, isMineToPrint: Bool, exitCode: Int32) {
    self.description = description
    self.isMineToPrint = isMineToPrint
    self.exitCode = exitCode
  }
}

extension Communicator {
  /// What `body` gives on this rank, if it fails on none: a rank that alone fails must not leave the others
  /// waiting.
  ///
  /// - Parameter failure: text and exit code of an error.
  /// - Throws: `AgreedFailure` on all ranks when `body` throws on one; `MessagePassingError`.
  public func agree<Value>(
    _ body: () throws -> Value,
    failure: (any Error) -> (text: String, exitCode: Int32) = { ("error: \($0)", 1) }
  ) throws -> Value {
    var value: Value?
    var own: [UInt8] = []
    do {
      value = try body()
    } catch let error as MessagePassingError {
      throw error
    } catch {
      let (text, exitCode) = failure(error)
      own = [1, UInt8(truncatingIfNeeded: exitCode)] + Array(text.utf8)
    }
    let all = try gatherAll(own, "hearing whether all ranks are ready")
    if let first = all.firstIndex(where: { !$0.isEmpty }) {
      let text = all[first]
      throw AgreedFailure(
        String(decoding: text.dropFirst(2), as: UTF8.self),
        isMineToPrint: rank == first, exitCode: Int32(text[1]))
    }
    guard let value else {
      throw AgreedFailure("no value", isMineToPrint: true, exitCode: 1)
    }
    return value
  }

  /// Refuses to go on with ranks that were started otherwise than rank 0.
  ///
  /// - Parameter facts: what must be alike, each with its name: arguments, build.
  /// - Throws: `AgreedFailure` on all ranks, naming the first rank and fact that differ.
  public func expectAlike(_ facts: [(name: String, value: String)]) throws {
    for (name, value) in facts {
      let all = try gatherAll(Array(value.utf8), "comparing \(name)")
      guard let other = all.firstIndex(where: { $0 != all[0] }) else { continue }
      throw AgreedFailure(
        "error: \(name) of rank \(other) = "
          + "'\(String(decoding: all[other], as: UTF8.self))': must be that of rank 0, "
          + "'\(String(decoding: all[0], as: UTF8.self))'; start all ranks with one mpirun and one build",
        isMineToPrint: rank == 0, exitCode: 64)
    }
  }
}
