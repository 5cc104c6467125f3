import Foundation
import MessagePassing

/// Which machines the ranks run on.
struct RankHosts {
  /// By rank.
  let names: [String]
  let own: String

  /// Asks all ranks, which call it together.
  ///
  /// - Throws: `MessagePassingError`.
  init(of communicator: Communicator) throws(MessagePassingError) {
    own = ProcessInfo.processInfo.hostName
    names = try communicator.gatherAll(Array(own.utf8), "hearing where ranks run")
      .map { String(decoding: $0, as: UTF8.self) }
  }

  /// Ranks on the same machine, this one included.
  var neighbours: Int { names.count { $0 == own } }

  /// The most ranks that share a machine.
  var mostOnOne: Int { Dictionary(grouping: names) { $0 }.values.map(\.count).max() ?? 1 }
}
