import AttentionContract
import AttentionEngines
import AttentionKernels
import MachineTopology
import Tensors

/// Several plans on one team, each for some heads of a problem.
///
/// Nothing is copied: each plan runs on strided views of the whole tensors. The plans' first stages
/// are dealt together, then their second ones, and so on, so that a worker that finds nothing left
/// of one plan takes from the next: heads that come alone do not leave workers idle. Plans of
/// strategies from outside, which deal their work themselves, run one after the other.
final class MixedPlan: AttentionPlan, TeamJob, @unchecked Sendable {
  /// A plan and the heads it serves.
  struct Part {
    let slice: HeadSlice
    let plan: any AttentionPlan
  }

  let problem: AttentionProblem
  let workspaceBytes: Int
  let takesPagedRows: Bool
  let takesKeyLengths: Bool
  let declaredOperands: [OperandDeclaration]
  private let team: WorkerTeam
  private let staged: [(slice: HeadSlice, plan: any StagedPlan)]
  private let others: [Part]
  private let stageCount: Int

  /// - Parameter parts: slices that hold each query head once, largest work first.
  init(
    _ problem: AttentionProblem, parts: [Part], operands: [OperandDeclaration], team: WorkerTeam
  ) {
    declaredOperands = operands
    self.problem = problem
    self.team = team
    var staged: [(slice: HeadSlice, plan: any StagedPlan)] = []
    var others: [Part] = []
    for part in parts {
      if let plan = part.plan as? any StagedPlan {
        staged.append((part.slice, plan))
      } else {
        others.append(part)
      }
    }
    self.staged = staged
    self.others = others
    stageCount = staged.map(\.plan.stageCount).max() ?? 0
    takesPagedRows = parts.allSatisfy { $0.plan.takesPagedRows }
    takesKeyLengths = parts.allSatisfy { $0.plan.takesKeyLengths }
    workspaceBytes = parts.reduce(0) { $0 + $1.plan.workspaceBytes }
  }

  func execute(_ operands: AttentionOperands) {
    for part in others {
      part.plan.execute(part.slice.operands(of: operands, declared: part.plan.declaredOperands))
    }
    for stage in 0..<stageCount {
      for part in staged {
        part.plan.begin(
          stage, of: part.slice.operands(of: operands, declared: part.plan.declaredOperands))
      }
      team.run(self)
    }
    for part in staged { part.plan.job.end() }
  }

  func work(worker: Int) {
    for part in staged { part.plan.job.work(worker: worker) }
  }
}
