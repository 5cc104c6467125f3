import AttentionContract
import AttentionKernels
import MachineTopology
import Tensors

/// A plan whose run is a row of stages, each dealt to the workers from the plan's own queue.
///
/// A stage starts when the one before it is complete. Between that, staged plans of one team can
/// share a run: a worker that finds the queue of one empty goes on to the next, see `MixedPlan`.
package protocol StagedPlan: AttentionPlan, TeamJob {
  /// The workers that the plan was made for.
  var team: WorkerTeam { get }
  /// How many stages a run has.
  var stageCount: Int { get }
  /// The tensors of the run under way; nil between runs.
  var operands: AttentionOperands? { get set }
  /// Deals out a stage; `work` then does it. Called by one thread, with `operands` set.
  func begin(stage: Int)
}

extension StagedPlan {
  package func execute(_ operands: AttentionOperands) {
    self.operands = operands
    for stage in 0..<stageCount {
      begin(stage: stage)
      team.run(self)
    }
    self.operands = nil
  }
}
