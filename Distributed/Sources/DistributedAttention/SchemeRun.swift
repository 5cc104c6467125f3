import Attention
import MachineTopology
import MessagePassing

/// One scheme made ready on one rank.
protocol SchemeRun: AnyObject {
  /// Bytes beyond the rank's tensors, the largest so far.
  var workspaceBytes: Int { get }
  /// Computes the rank's rows.
  func run(_ tensors: ShardTensors) throws -> RunCounts
}

/// What schemes are made of: the problem, who takes part, and which rows each has.
struct SchemeContext {
  let strategy: any AttentionStrategy
  /// The whole; of packed sequences all as one.
  let problem: AttentionProblem
  /// The packed sequences that the rows are; nil where they are one sequence.
  let documents: Documents?
  let queries: ShardLayout
  let keys: ShardLayout
  let communicator: Communicator
  let link: LinkModel?
  let team: WorkerTeam

  var shape: AttentionShape { problem.shape }
  var rank: Int { communicator.rank }
  var ranks: Int { communicator.size }
  var otherRanks: [Int] { (1..<max(ranks, 1)).map { (rank + $0) % ranks } }

  /// Messages that are all under way at once.
  func exchange() -> Exchange { Exchange(communicator, link: link) }

  /// This rank's queries, to be worked on piece by piece.
  func pieces() throws(AttentionError) -> QueryPieces {
    try QueryPieces(
      strategy, problem, documents: documents, queries: queries.segments(rank), team: team)
  }
}
