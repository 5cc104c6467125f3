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
  let problem: AttentionProblem
  let queries: ShardLayout
  let keys: ShardLayout
  let communicator: Communicator
  let link: LinkModel?
  let team: WorkerTeam

  var shape: AttentionShape { problem.shape }
  var rank: Int { communicator.rank }
  var ranks: Int { communicator.size }
  var otherRanks: [Int] { (1..<max(ranks, 1)).map { (rank + $0) % ranks } }
}
