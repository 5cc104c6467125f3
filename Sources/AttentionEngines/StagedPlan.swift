import AttentionContract
import AttentionKernels
import MachineTopology
import Tensors

/// What the stages of a run are handed.
package struct StageContext: Sendable {
  /// The tensors of the run.
  let operands: AttentionOperands
  /// Which stage it is.
  let stage: Int
}

/// A plan whose run is a row of stages, each dealt to the workers from the plan's own queue.
///
/// A stage starts when the one before it is complete. Between that, staged plans of one team can
/// share a run: a worker that finds the queue of one empty goes on to the next, see `MixedPlan`.
package protocol StagedPlan: AttentionPlan, Sendable {
  /// The workers that the plan was made for.
  var team: WorkerTeam { get }
  /// What hands the workers its stages.
  var job: StageJob { get }
  /// How many stages a run has.
  var stageCount: Int { get }
  /// Deals out a stage, on one thread; `work` then does it.
  func begin(_ context: StageContext)
  /// The share of one worker in a stage.
  func work(_ context: StageContext, worker: Int)
}

extension StagedPlan {
  package func execute(_ operands: AttentionOperands) {
    for stage in 0..<stageCount {
      begin(stage, of: operands)
      team.run(job)
    }
    job.end()
  }

  /// Makes a stage the job's, if there is such a stage; the plan must outlive it.
  package func begin(_ stage: Int, of operands: AttentionOperands) {
    if stage >= stageCount { return job.end() }
    let context = StageContext(operands: operands, stage: stage)
    begin(context)
    job.begin(self, context)
  }
}

/// The stage of a plan that is under way.
///
/// Unchecked: one thread says what the stage is, before its workers start and after they end.
package final class StageJob: TeamJob, @unchecked Sendable {
  private unowned(unsafe) var plan: (any StagedPlan)?
  private var context: StageContext?

  package init() {}

  fileprivate func begin(_ plan: any StagedPlan, _ context: StageContext) {
    (self.plan, self.context) = (plan, context)
  }

  /// Forgets the stage: there is no work.
  package func end() { (plan, context) = (nil, nil) }

  package func work(worker: Int) {
    if let plan, let context { plan.work(context, worker: worker) }
  }
}
